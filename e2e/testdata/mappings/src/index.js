exports.price = async ({ sku, amount, who }) => {
  if (!who) throw new Error("the template gave no connection id");
  if (sku === "rare") throw new Error("SoldOut: nothing left of " + sku);
  if (sku === "cursed") throw new TypeError("cannot price this");
  return { total: 5 * amount };
};
