<#macro m «5000:p№=№ »></#macro><@m/>
