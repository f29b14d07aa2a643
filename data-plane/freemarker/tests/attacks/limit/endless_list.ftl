<#list 1.. as x></#list>
