<#assign s = many?map(x -> {"k": x})><#list 1.. as i><#assign t = s?sort_by("k")></#list>
