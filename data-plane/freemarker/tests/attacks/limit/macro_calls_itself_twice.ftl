<#macro m n><#if n gt 0><@m n - 1/><@m n - 1/></#if></#macro><@m 60/>
