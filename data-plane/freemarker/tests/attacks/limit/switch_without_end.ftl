<#list 1.. as i><#switch i><#case -1>a<#case -2>b<#case -3>c<#default></#switch></#list>
