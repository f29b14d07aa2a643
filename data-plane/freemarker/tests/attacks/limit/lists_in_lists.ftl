<#list 1..2000000000 as x><#list 1..2000000000 as y><#list many as z></#list></#list></#list>
