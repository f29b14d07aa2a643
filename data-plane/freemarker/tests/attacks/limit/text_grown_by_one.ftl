<#assign s = ""><#list 1.. as i><#assign s = s + "x"></#list>
