<#macro a><@b/></#macro><#macro b><@a/></#macro><@a/>
