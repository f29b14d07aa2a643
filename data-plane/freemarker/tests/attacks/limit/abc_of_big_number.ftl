<#list 1.. as i><#assign s = 2147483647?lower_abc></#list>
