export function greet(name: string): string {
  return `Hello, ${name}`;
}

const place: HTMLElement | null = document.querySelector("h1");
if (place) place.textContent = greet("reader");
