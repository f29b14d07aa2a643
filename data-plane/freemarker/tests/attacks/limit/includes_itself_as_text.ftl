<#list 1.. as i><#include "attack" parse=false></#list>
