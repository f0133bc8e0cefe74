"""The style sheet of the report's page, for a screen and for paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #222; font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { margin-top: 2.5rem; padding-bottom: .25rem; border-bottom: 2px solid #0072B2; font-size: 1.3rem; }
h3 { margin: 1.6rem 0 .4rem; font-size: 1.02rem; }
h4, h5 { margin: .7rem 0 .25rem; font-size: .95rem; }
h5 { font-weight: 600; color: #555; }
nav ol { columns: 2; padding-left: 1.3rem; }
a { color: #0072B2; }
.strong { padding: .7rem 1rem; border-left: 5px solid #0072B2; background: #F0F6FA; font-weight: 600; }
.note, figcaption { color: #666; font-size: .85rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #E2E2E2; text-align: right; vertical-align: top; }
thead th { border-bottom: 2px solid #888; vertical-align: bottom; }
th:first-child { text-align: left; }
tbody th { font-weight: 500; text-align: left; white-space: nowrap; }
td, thead th { white-space: nowrap; }
thead th.long { white-space: normal; min-width: 6.5rem; }
td.long, th.long { text-align: left; white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; }
blockquote { margin: .4rem 0; padding-left: .8rem; border-left: 3px solid #CCC; }
pre { margin: .2rem 0; padding: .5rem .7rem; background: #F6F6F6; overflow-x: auto; font-size: .8rem; }
pre code { white-space: pre-wrap; overflow-wrap: anywhere; }
article { margin: 1rem 0; padding: .3rem 1rem .8rem; border: 1px solid #DDD; border-left-width: 5px; }
article.rescued { border-left-color: #009E73; }
article.harmed { border-left-color: #D55E00; }
@media screen and (max-width: 62rem) {
  table { font-size: .76rem; }
  th, td { padding: .25rem .4rem; }
  tbody th { white-space: normal; min-width: 9rem; }
}
@page { size: A4; margin: 14mm; }
@media print {
  body { font-size: 9.5pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  h2, h3, h4, h5 { break-after: avoid; }
  figure, article, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  .table { overflow: visible; }
  .note, figcaption { font-size: 8pt; }
  table { width: 100%; font-size: 7pt; }
  th, td { padding: .12rem .25rem; }
  tbody th, td, thead th, td.long, th.long { white-space: normal; min-width: 0; }
  a { color: inherit; text-decoration: none; }
  .strong, pre, article { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
