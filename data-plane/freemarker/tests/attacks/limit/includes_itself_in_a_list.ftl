<#list 1.. as i><#include "attack"></#list>
