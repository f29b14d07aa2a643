<#list 1.. as i><@("x" + i)?interpret/></#list>
