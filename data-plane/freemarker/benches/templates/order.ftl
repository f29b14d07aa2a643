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
