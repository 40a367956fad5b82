<?php
require __DIR__ . "/lib/title.php";
echo "<h1>" . title() . "</h1>\n";
