<#list 1.. as i><#assign s = big?upper_case?lower_case?cap_first?trim></#list>
