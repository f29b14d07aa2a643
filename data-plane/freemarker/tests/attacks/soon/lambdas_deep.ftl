${«75:[1]?map(x -> »x«75:)?first»}
