// Every view by its address: a module with `path`, `key` (g, then this letter), `title`, `about` and
// `mount(place, {signal, tools, overview, argument, query})`. What a view starts ends with the signal; `tools` is a
// place beside the title.

import * as dead from "./dead.js";
import * as domains from "./domains.js";
import * as explain from "./explain.js";
import * as nodes from "./nodes.js";
import * as overview from "./overview.js";
import * as publish from "./publish.js";
import * as tail from "./tail.js";
import * as types from "./types.js";
import * as users from "./users.js";

export const views = [overview, nodes, domains, dead, tail, users, explain, types, publish];
