<#list 1.. as i><#setting number_format="0." + i?c></#list>
