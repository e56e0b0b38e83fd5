// Takes the place of the package react-style-singleton, whose <style> elements the content security policy refuses.
import { useEffect } from "react";

/** A component that applies its `styles` while at least one instance is mounted. */
export function styleSingleton() {
  const sheet = new CSSStyleSheet();
  let mounted = 0;

  return function Sheet({ styles, dynamic }) {
    useEffect(() => {
      mounted += 1;
      if (mounted === 1) {
        sheet.replaceSync(styles);
        document.adoptedStyleSheets.push(sheet);
      }
      return () => {
        mounted -= 1;
        if (mounted === 0) {
          document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
        }
      };
    }, [styles && dynamic]);
    return null;
  };
}
