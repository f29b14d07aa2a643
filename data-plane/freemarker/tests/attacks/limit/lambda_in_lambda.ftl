${many?map(x -> many?map(y -> many?filter(z -> z == x + y)?size)?join(""))?join("")}
