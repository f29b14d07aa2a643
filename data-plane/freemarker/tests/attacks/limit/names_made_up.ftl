<#list 1.. as i><#assign x = .vars["x" + i]!""></#list>
