<#assign s = [1]><#list 1.. as i><#assign s = s + s></#list>
