{
  <#if input.amplitude_id??>
  <#if input.amplitude_id?is_string>
  "amplitude_id": "${input.amplitude_id?json_string}",
  <#else>
  "amplitude_id": ${input.amplitude_id?c},
  </#if>
  </#if>
  <#if input.app??>
  <#if input.app?is_string>
  "app": "${input.app?json_string}",
  <#else>
  "app": ${input.app?c},
  </#if>
  </#if>
  <#if input.device_id??>
  <#if input.device_id?is_string>
  "device_id": "${input.device_id?json_string}",
  <#else>
  "device_id": ${input.device_id?c},
  </#if>
  </#if>
  <#if input.session_id??>
  <#if input.session_id?is_string>
  "session_id": "${input.session_id?json_string}",
  <#else>
  "session_id": ${input.session_id?c},
  </#if>
  </#if>
  <#if input.event_id??>
  <#if input.event_id?is_string>
  "event_id": "${input.event_id?json_string}",
  <#else>
  "event_id": ${input.event_id?c},
  </#if>
  </#if>
  <#if input.event_type??>
  <#if input.event_type?is_string>
  "event_type": "${input.event_type?json_string}",
  <#else>
  "event_type": ${input.event_type?c},
  </#if>
  </#if>
  <#if input.event_time??>
  <#if input.event_time?is_string>
  "event_time": "${input.event_time?json_string}",
  <#else>
  "event_time": ${input.event_time?c},
  </#if>
  </#if>
  <#if input.client_event_time??>
  <#if input.client_event_time?is_string>
  "client_event_time": "${input.client_event_time?json_string}",
  <#else>
  "client_event_time": ${input.client_event_time?c},
  </#if>
  </#if>
  <#if input.server_upload_time??>
  <#if input.server_upload_time?is_string>
  "server_upload_time": "${input.server_upload_time?json_string}",
  <#else>
  "server_upload_time": ${input.server_upload_time?c},
  </#if>
  </#if>
  <#if input.platform??>
  <#if input.platform?is_string>
  "platform": "${input.platform?json_string}",
  <#else>
  "platform": ${input.platform?c},
  </#if>
  </#if>
  <#if input.os_name??>
  <#if input.os_name?is_string>
  "os_name": "${input.os_name?json_string}",
  <#else>
  "os_name": ${input.os_name?c},
  </#if>
  </#if>
  <#if input.os_version??>
  <#if input.os_version?is_string>
  "os_version": "${input.os_version?json_string}",
  <#else>
  "os_version": ${input.os_version?c},
  </#if>
  </#if>
  <#if input.device_family??>
  <#if input.device_family?is_string>
  "device_family": "${input.device_family?json_string}",
  <#else>
  "device_family": ${input.device_family?c},
  </#if>
  </#if>
  <#if input.language??>
  <#if input.language?is_string>
  "language": "${input.language?json_string}",
  <#else>
  "language": ${input.language?c},
  </#if>
  </#if>
  <#if input.country??>
  <#if input.country?is_string>
  "country": "${input.country?json_string}",
  <#else>
  "country": ${input.country?c},
  </#if>
  </#if>
  <#if input.region??>
  <#if input.region?is_string>
  "region": "${input.region?json_string}",
  <#else>
  "region": ${input.region?c},
  </#if>
  </#if>
  <#if input.city??>
  <#if input.city?is_string>
  "city": "${input.city?json_string}",
  <#else>
  "city": ${input.city?c},
  </#if>
  </#if>
  <#if input.dma??>
  <#if input.dma?is_string>
  "dma": "${input.dma?json_string}",
  <#else>
  "dma": ${input.dma?c},
  </#if>
  </#if>
  <#if input.ip_address??>
  <#if input.ip_address?is_string>
  "ip_address": "${input.ip_address?json_string}",
  <#else>
  "ip_address": ${input.ip_address?c},
  </#if>
  </#if>
  <#if input.location_lat??>
  <#if input.location_lat?is_string>
  "location_lat": "${input.location_lat?json_string}",
  <#else>
  "location_lat": ${input.location_lat?c},
  </#if>
  </#if>
  <#if input.location_lng??>
  <#if input.location_lng?is_string>
  "location_lng": "${input.location_lng?json_string}",
  <#else>
  "location_lng": ${input.location_lng?c},
  </#if>
  </#if>
  <#if input.library??>
  <#if input.library?is_string>
  "library": "${input.library?json_string}",
  <#else>
  "library": ${input.library?c},
  </#if>
  </#if>
  <#if input.paying??>
  <#if input.paying?is_string>
  "paying": "${input.paying?json_string}",
  <#else>
  "paying": ${input.paying?c},
  </#if>
  </#if>
  <#if input.version_name??>
  <#if input.version_name?is_string>
  "version_name": "${input.version_name?json_string}",
  <#else>
  "version_name": ${input.version_name?c},
  </#if>
  </#if>
  <#if input.uuid??>
  <#if input.uuid?is_string>
  "uuid": "${input.uuid?json_string}",
  <#else>
  "uuid": ${input.uuid?c},
  </#if>
  </#if>
  <#if input.user_properties.email??>
  <#if input.user_properties.email?is_string>
  "user_email": "${input.user_properties.email?json_string}",
  <#else>
  "user_email": ${input.user_properties.email?c},
  </#if>
  </#if>
  <#if input.user_properties.name??>
  <#if input.user_properties.name?is_string>
  "user_name": "${input.user_properties.name?json_string}",
  <#else>
  "user_name": ${input.user_properties.name?c},
  </#if>
  </#if>
  <#if input.user_properties.plan??>
  <#if input.user_properties.plan?is_string>
  "user_plan": "${input.user_properties.plan?json_string}",
  <#else>
  "user_plan": ${input.user_properties.plan?c},
  </#if>
  </#if>
  <#if input.user_properties.age??>
  <#if input.user_properties.age?is_string>
  "user_age": "${input.user_properties.age?json_string}",
  <#else>
  "user_age": ${input.user_properties.age?c},
  </#if>
  </#if>
  <#if input.user_properties.beta??>
  <#if input.user_properties.beta?is_string>
  "user_beta": "${input.user_properties.beta?json_string}",
  <#else>
  "user_beta": ${input.user_properties.beta?c},
  </#if>
  </#if>
  <#if input.user_properties.referrer??>
  <#if input.user_properties.referrer?is_string>
  "user_referrer": "${input.user_properties.referrer?json_string}",
  <#else>
  "user_referrer": ${input.user_properties.referrer?c},
  </#if>
  </#if>
  <#if input.user_properties.initial_utm_source??>
  <#if input.user_properties.initial_utm_source?is_string>
  "user_initial_utm_source": "${input.user_properties.initial_utm_source?json_string}",
  <#else>
  "user_initial_utm_source": ${input.user_properties.initial_utm_source?c},
  </#if>
  </#if>
  <#if input.user_properties.initial_utm_campaign??>
  <#if input.user_properties.initial_utm_campaign?is_string>
  "user_initial_utm_campaign": "${input.user_properties.initial_utm_campaign?json_string}",
  <#else>
  "user_initial_utm_campaign": ${input.user_properties.initial_utm_campaign?c},
  </#if>
  </#if>
  <#if input.user_properties.phone??>
  <#if input.user_properties.phone?is_string>
  "user_phone": "${input.user_properties.phone?json_string}",
  <#else>
  "user_phone": ${input.user_properties.phone?c},
  </#if>
  </#if>
  <#if input.user_properties.gender??>
  <#if input.user_properties.gender?is_string>
  "user_gender": "${input.user_properties.gender?json_string}",
  <#else>
  "user_gender": ${input.user_properties.gender?c},
  </#if>
  </#if>
  <#if input.event_properties.order_id??>
  <#if input.event_properties.order_id?is_string>
  "property_order_id": "${input.event_properties.order_id?json_string}",
  <#else>
  "property_order_id": ${input.event_properties.order_id?c},
  </#if>
  </#if>
  <#if input.event_properties.revenue??>
  <#if input.event_properties.revenue?is_string>
  "property_revenue": "${input.event_properties.revenue?json_string}",
  <#else>
  "property_revenue": ${input.event_properties.revenue?c},
  </#if>
  </#if>
  <#if input.event_properties.currency??>
  <#if input.event_properties.currency?is_string>
  "property_currency": "${input.event_properties.currency?json_string}",
  <#else>
  "property_currency": ${input.event_properties.currency?c},
  </#if>
  </#if>
  <#if input.event_properties.coupon??>
  <#if input.event_properties.coupon?is_string>
  "property_coupon": "${input.event_properties.coupon?json_string}",
  <#else>
  "property_coupon": ${input.event_properties.coupon?c},
  </#if>
  </#if>
  <#if input.event_properties.first_order??>
  <#if input.event_properties.first_order?is_string>
  "property_first_order": "${input.event_properties.first_order?json_string}",
  <#else>
  "property_first_order": ${input.event_properties.first_order?c},
  </#if>
  </#if>
  <#if input.event_properties.page??>
  <#if input.event_properties.page?is_string>
  "property_page": "${input.event_properties.page?json_string}",
  <#else>
  "property_page": ${input.event_properties.page?c},
  </#if>
  </#if>
  <#if input.event_properties.duration_ms??>
  <#if input.event_properties.duration_ms?is_string>
  "property_duration_ms": "${input.event_properties.duration_ms?json_string}",
  <#else>
  "property_duration_ms": ${input.event_properties.duration_ms?c},
  </#if>
  </#if>
  "order":
<#macro field name value>
<#if value?is_number || value?is_boolean>
"${name?json_string}": ${value?c}<#t>
<#elseif value?is_string>
"${name?json_string}": "${value?json_string}"<#t>
<#else>
"${name?json_string}": ${value?size}<#t>
</#if>
</#macro>
<#function cents amount>
<#return (amount * 100)?round>
</#function>
<#assign properties = input.event_properties>
<#assign total = 0>
<#list properties.products as p><#assign total = total + p.price * p.qty></#list>
{
  "external_id": "${(input.user_id!input.device_id)?json_string}",
  "name": "${input.event_type?lower_case?replace(" ", "_")}",
  "time": "${input.event_time[0..18]?replace(" ", "T")}Z",
  "session": ${input.session_id?c},
  <#if (properties.revenue!0) gt 100>
  "segment": "high",
  <#elseif (properties.revenue!0) gt 10>
  "segment": "mid",
  <#else>
  "segment": "low",
  </#if>
  "order": {
    "id": "${properties.order_id?json_string}",
    "total": ${total?c},
    "cents": ${cents(total)?c},
    "currency": "${(properties.currency)!"USD"}",
    "first": ${properties.first_order?c}<#if properties.coupon??>,
    "coupon": "${properties.coupon?json_string}"</#if>
  },
  "location": {
    "city": "${(input.city!"unknown")?json_string}",
    "country": "${(input.country!"unknown")?json_string}",
    "lat": ${(input.location_lat!0)?c},
    "lng": ${(input.location_lng!0)?c}
  },
  "user": {
    <#list input.user_properties?keys as key>
    <@field key input.user_properties[key]!/><#sep>,</#sep>
    </#list>
  },
  "tags": [<#list input.user_properties.tags as tag>"${tag?lower_case?json_string}"<#sep>, </#list>],
  "team": "${input.groups.team?join(";")}",
  "platform": "${(input.platform!"")?upper_case} / ${(input.os_name!"")?upper_case}",
  "items": [
    <#list properties.products as p>
    {
      "id": ${p?counter},
      "sku": "${p.sku}",
      "label": "${p.name?trim?json_string}",
      "price": ${p.price?c},
      "qty": ${p.qty?c}<#if p.discount??>,
      "discount": ${p.discount?c}</#if>
    }<#sep>,</#sep>
    </#list>
  ]
}
}
