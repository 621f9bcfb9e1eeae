from roar.cli.commands import main

main()
