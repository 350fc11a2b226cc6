// What a static site holds; `eyebright export RUN site/` writes it. null: the model is on the server of this page.
export const site = null;
