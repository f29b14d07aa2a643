<#list 1.. as i><#assign n = "1e900"?number / "7e-90"?number></#list>
