<#list 1.. as i><#assign n = "1e990"?number + "1e-990"?number></#list>
