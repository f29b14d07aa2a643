<#macro m><#nested><@m><#nested></@m></#macro><@m>x</@m>
