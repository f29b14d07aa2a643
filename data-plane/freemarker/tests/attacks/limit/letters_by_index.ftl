<#list 1.. as i><#assign s = big[i % 90000] + big[i % 90000..*10]></#list>
