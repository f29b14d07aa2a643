<#macro m><#list 1.. as x><#nested x></#list></#macro><@m ; x><@m ; y></@m></@m>
