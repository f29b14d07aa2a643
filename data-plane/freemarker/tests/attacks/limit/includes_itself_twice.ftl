<#if (.vars.n!0) lt 40><#assign n = (n!0) + 1><#include "attack"><#assign n = n - 1><#include "attack"><#assign n = n + 1></#if><#list 1.. as i></#list>
