// The marked text of a note. A mention that is pressed, and words that are selected, are told to
// the page by their characters.

const LABEL = "mark > span";

// What a node of the marked text stands for: [node, characters of the text before it, and behind].
function* places(box, text) {
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  let at = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const start = at;
    if (node.nodeName === "BR") {
      at += text.startsWith("\r\n", at) ? 2 : 1;
    } else if (node.nodeType === Node.TEXT_NODE && !node.parentElement.closest(LABEL)) {
      // the space before a label is not in the text
      at += node.length - (node.nextSibling?.matches?.(LABEL) ? 1 : 0);
    }
    yield [node, start, at];
  }
}

function selected(box, text) {
  const range = getSelection().rangeCount ? getSelection().getRangeAt(0) : null;
  if (!range || range.collapsed || !box.contains(range.commonAncestorContainer)) return null;
  let first = null, last = null;
  for (const [node, start, end] of places(box, text)) {
    if (start === end || !range.intersectsNode(node)) continue;
    const from = node === range.startContainer ? start + range.startOffset : start;
    const to = node === range.endContainer ? start + range.endOffset : end;
    if (from >= end || to <= from) continue;
    first ??= from;
    last = Math.min(to, end);
  }
  const characters = (units) => [...text.slice(0, units)].length; // Python counts no UTF-16 units
  return first === null ? null : `${characters(first)} ${characters(last)}`;
}

export default function ({ data, parentElement, setTriggerValue }) {
  let box = parentElement.querySelector(".note");
  if (!box) {
    box = document.createElement("div");
    box.className = "note";
    parentElement.appendChild(box);
  }
  if (box.dataset.html !== data.html) {
    box.dataset.html = data.html;
    box.innerHTML = data.html;
  }
  for (const mark of box.querySelectorAll("mark.entity")) {
    mark.tabIndex = 0;
    mark.setAttribute("role", "button");
    mark.classList.toggle("chosen", mark.dataset.mention === data.chosen);
  }
  box.onclick = (event) => {
    const mark = event.target.closest("mark.entity");
    if (mark && getSelection().isCollapsed) setTriggerValue("pressed", mark.dataset.mention);
  };
  box.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    setTriggerValue("pressed", event.target.closest("mark.entity")?.dataset.mention);
  };
  box.onmouseup = () => {
    const words = selected(box, data.text);
    if (words) setTriggerValue("selected", words);
  };
}
