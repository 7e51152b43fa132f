"""The exports of INCEpTION: UIMA CAS, and the TSV of WebAnno before it."""
