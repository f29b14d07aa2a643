<#if true«20000: && true»></#if>
