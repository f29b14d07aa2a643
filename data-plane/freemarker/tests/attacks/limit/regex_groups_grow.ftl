<#list 1.. as i><#assign s = big?replace("(a)", "$1$1$1$1", "r")></#list>
