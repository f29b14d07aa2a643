<#list 1.. as i><#assign s = big?replace("a*b", "x", "r")></#list>
