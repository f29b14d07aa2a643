<#list 1.. as i><#if big == big[0..] + ""></#if></#list>
