<#macro m rest...><@m rest, rest, rest/></#macro><@m 1/>
