<#list 1.. as i><#assign s = big?truncate(99000)></#list>
