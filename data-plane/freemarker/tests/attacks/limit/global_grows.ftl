<#list 1.. as i><#global g = (.globals.g!"") + big></#list>
