<#list 1.. as i><#assign s = many?reverse?sort></#list>
