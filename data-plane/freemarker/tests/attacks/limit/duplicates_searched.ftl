<#list 1.. as i><#if many?seq_contains("x" + i)></#if></#list>
