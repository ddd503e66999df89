// Makes a ticket: node ticket.mjs NAME [MINUTES]. Set TICKET_SECRET to the stack's
// parameter TicketSecret when that is not the default.
import { make } from "./src/ticket.js";

const [name, minutes = "60"] = process.argv.slice(2);
if (!name) {
  console.error("usage: node ticket.mjs NAME [MINUTES]");
  process.exit(2);
}
console.log(make(name, Number(minutes), process.env.TICKET_SECRET ?? "change-me-before-you-deploy"));
