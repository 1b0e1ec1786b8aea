// Sphinx's scores, and more for the sections than for all other pages.
var Scorer = {
  score: ([docname, title, anchor, description, score]) =>
    docname.startsWith("sections/") ? score + 30 : score,
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
