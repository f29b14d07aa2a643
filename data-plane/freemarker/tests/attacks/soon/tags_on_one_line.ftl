«10000:<#t>a<#if true></#if>»
