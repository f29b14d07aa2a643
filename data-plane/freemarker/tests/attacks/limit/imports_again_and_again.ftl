<#if .main_template_name == .current_template_name><#list 1.. as i><#import "attack" as a></#list></#if>
