<#list 1.. as i><@big?interpret/></#list>
