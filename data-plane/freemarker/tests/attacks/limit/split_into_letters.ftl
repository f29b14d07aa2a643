<#list 1.. as i><#assign s = big?split("")></#list>
