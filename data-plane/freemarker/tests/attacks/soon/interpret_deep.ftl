<@"«5000:<#if true>»"?interpret/>
