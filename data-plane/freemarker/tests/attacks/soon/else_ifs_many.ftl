<#if false>«20000:<#elseif false>»</#if>
