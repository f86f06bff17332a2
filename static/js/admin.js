// unfold's copy of htmx would write a style element, which the content policy forbids.
htmx.config.includeIndicatorStyles = false;
