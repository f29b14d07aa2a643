<#assign s = many?map(x -> big + x)><#list 1.. as i><#assign t = s?sort></#list>
